"""Chat: conversations by the model's own template, with loss on the assistant's turns."""
