"""DELF: attentive deep local features, from published TensorFlow models and our own."""
