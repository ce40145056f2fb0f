"""Learning from answers as they are written: rollouts, rewards, advantages, alarms."""
