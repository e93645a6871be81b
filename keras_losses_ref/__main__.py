from keras_losses_ref.cli import run

run()
