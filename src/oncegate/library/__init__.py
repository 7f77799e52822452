"""What a program that imports oncegate uses: sign links, verify them, call the control API."""
