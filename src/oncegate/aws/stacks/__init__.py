"""The CloudFormation stacks: options go in, JSON comes out; the same options give the same bytes."""
