"""Vision-language systems in Keras 3: layers, losses, encoders, models, training, export."""
