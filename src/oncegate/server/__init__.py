"""HTTP: sockets, requests and answers. Knows no link."""
