"""Image to global descriptor: decoding, backbones, pooling, training and extraction."""
