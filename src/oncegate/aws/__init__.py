"""oncegate on AWS: the stacks as plain Python, what deploys them, and a referee that stands for CloudFront."""
