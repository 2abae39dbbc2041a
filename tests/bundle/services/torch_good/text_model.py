"""A classifier of texts, as small as one can be."""

import torch


class TextClassificationModel(torch.nn.Module):
    """A bag of embeddings and a line."""

    def __init__(self, vocab_size, embedding_size, classes):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(vocab_size, embedding_size)
        self.fc = torch.nn.Linear(embedding_size, classes)

    def forward(self, text, offsets=None):
        return self.fc(self.embedding(text, offsets))
