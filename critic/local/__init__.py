"""A model in this process: how it is loaded, attends, reads trees of chats and writes. Trainers use it, too."""
