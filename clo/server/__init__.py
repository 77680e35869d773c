"""One client for every server that speaks OpenAI's protocol, whoever asks and whatever for.

Enters: prompts, how to sample, and what the server is to its caller. Leaves: replies, kept on disk as they come, or one
sentence about the server in the caller's words. Never here: what is asked and what a reply means; torch.
"""
