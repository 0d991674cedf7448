"""The JSON that comes in and goes out: request and response models, documents, rendered results."""
