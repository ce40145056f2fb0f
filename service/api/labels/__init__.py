"""Routes of people's labels: projects, tasks, feedback, agreement, data sets."""
