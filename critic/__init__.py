"""Text to feedback: records, engines, prompts, critique and revision, judging, runs. Start with `critic.pipeline`."""
