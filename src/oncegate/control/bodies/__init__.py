"""What the control API takes and gives, as pydantic models with the examples of its OpenAPI document; by call."""
