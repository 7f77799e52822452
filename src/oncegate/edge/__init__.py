"""The edge function: links opened at CloudFront, decided by the same rules and one table. Standard library only.

``tools/join_edge.py`` writes it and what it reaches into one file, aws/generated/edge.py, which is what is deployed.
"""
