"""Public and private keys as the outside world keeps them: PEM files, the key group's folder, rotation."""
