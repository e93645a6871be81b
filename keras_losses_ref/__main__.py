from keras_losses_ref.cli import run

if __name__ == "__main__":  # not in the processes that a check starts
    run()
