"""ClickExampleGen: from a click log and an image store to tf.Examples."""
