"""What labels of judges rest on: stored certificates, which of them cover some labels, and items routed to people."""
