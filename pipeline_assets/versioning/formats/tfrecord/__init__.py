"""TFRecord: one `tf.train.Example` a row."""
