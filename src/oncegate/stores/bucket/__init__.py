"""The stores s3:, gs: and az: a bucket or container, through obstore."""
