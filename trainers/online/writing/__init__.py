"""What writes the answers that are learnt from: in this process, or by vLLM."""
