"""Routes of what judges were measured to be, and of which items people should see."""
