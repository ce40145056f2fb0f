"""What the API answers, one file a resource: read by its clients, which import no routes."""
