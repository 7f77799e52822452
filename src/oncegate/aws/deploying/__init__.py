"""From options to stacks that stand: plan, apply, look, take away. Whatever stops it, running it again goes on."""
