"""The same request again, or at once: one effect."""
