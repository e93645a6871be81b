"""Losses under tf.distribute, in a process of its own.

    python distributed.py mirrored
    python distributed.py worker INDEX PORT PORT
    python distributed.py parameter-server

Devices and clusters are laid out before TensorFlow starts, which a test cannot do in
the process that it shares with others. Prints one JSON object: for each case, an error
relative to what was expected, or a message.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if sys.argv[1] == "worker":
    workers = [f"127.0.0.1:{port}" for port in sys.argv[3:]]
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": int(sys.argv[2])},
        }
    )

import numpy as np
import tensorflow as tf

if sys.argv[1] == "worker":  # before anything else touches TensorFlow
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

from loss_rows import (
    compile_arguments,
    keras,
    one_per_kind,
    rows,
    sequential,
    sgd,
)

from keras_losses_ref.losses import compat

#: Not the same number of samples on each replica.
SHARDS = (slice(0, 5), slice(5, 8))
#: What divides by the number of samples, and in some hosts by that of the replicas.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
#: What a step on a worker may reduce by: Keras 2 leaves its means to `fit`.
SERVED = (
    ("sum", "none")
    if compat.GENERATION == 2
    else tuple(reduction for reduction in compat.REDUCTIONS if reduction is not None)
)


def relative_error(found, expected):
    """The largest difference, relative to the largest magnitude expected."""
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    scale = np.max(np.abs(expected), initial=0.0)
    return float(np.max(np.abs(found - expected), initial=0.0) / (scale or 1.0))


def head_model(row):
    x, _ = row.data()
    return sequential(x.shape[1:], row.head())


def loss_and_gradient(loss, model, x, y):
    """The loss, summed if it is one per sample, and its gradient, as one vector."""
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(y, model(x, training=True)))
    gradients = tape.gradient(value, model.trainable_variables)
    parts = [tf.reshape(part, [-1]) for part in (value, *gradients)]
    return tf.concat([tf.cast(part, tf.float32) for part in parts], 0)


def both(row):
    return {"ours": row.ours, "theirs": row.keras or row.ours}


def message(function, *args):
    try:
        function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def refused(reduction):
    """Keras 2 wants the user to say what a mean is a mean of."""
    return compat.GENERATION == 2 and reduction in ("auto", "sum_over_batch_size")


def reductions(row):
    """All that the host allows; for the second loss of a kind one mean and one sum."""
    allowed = [each for each in compat.REDUCTIONS if not refused(each)]
    few = [each for each in allowed if each in ("sum_over_batch_size", "sum")]
    return allowed if row in one_per_kind() else few


def expected_on_one_device(row, model, x, y, shards, reduction):
    """What each replica gives by the host's rules, from runs on one device."""
    loss = row.ours(reduction=reduction)
    share = 1 / len(shards) if compat.SCALES_BY_REPLICAS and reduction in MEANS else 1
    values = [loss_and_gradient(loss, model, x[s], y[s]).numpy() for s in shards]
    # Dice of the whole batch is no mean: nothing divides it.
    is_scalar = loss.call(tf.constant(y), model(x)).shape.rank == 0
    return [value * (1 if is_scalar else share) for value in values]


def custom_loop(strategy, row, shards):
    """Each replica's loss and gradient, under every reduction that the host allows."""
    x, y = row.data()
    with strategy.scope():
        model = head_model(row)
    model(x[:1])
    losses = {
        f"{reduction!r}-{who}": cls(reduction=reduction)
        for reduction in reductions(row)
        for who, cls in both(row).items()
    }

    def replica(x, y):
        return {
            case: loss_and_gradient(loss, model, x, y) for case, loss in losses.items()
        }

    @tf.function
    def step(x, y):
        return strategy.run(replica, args=(x, y))

    def distribute(a):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(a[shards[context.replica_id_in_sync_group]])
        )

    found = step(distribute(x), distribute(y))
    errors = {}
    for reduction in reductions(row):
        expected = expected_on_one_device(row, model, x, y, shards, reduction)
        for who in ("ours", "theirs"):
            mine = found[f"{reduction!r}-{who}"]
            locally = strategy.experimental_local_results(mine)
            here = [
                shards.index(s)
                for s in shards
                if len(locally) == len(shards)
                or shards.index(s) == strategy.cluster_resolver.task_id
            ]
            for index, value in zip(here, locally):
                errors[f"{reduction!r}-{who}-{index}"] = relative_error(
                    value, expected[index]
                )
            total = strategy.reduce("SUM", mine, axis=None)
            errors[f"{reduction!r}-{who}-sum"] = relative_error(total, sum(expected))
    return errors


def refusals(strategy, row):
    """What Keras 2 says to a mean under a strategy, from us and from itself."""
    x, y = row.data()
    found = {}
    with strategy.scope():
        for reduction in filter(refused, compat.REDUCTIONS):
            for who, cls in both(row).items():
                loss = cls(reduction=reduction)
                y_pred = head_model(row)(x)
                found[f"{reduction}-{who}"] = message(loss, y, y_pred)
    return found


def fit(strategy, row, cls, reduction, samples):
    """Epoch losses, and how far each weight went."""
    x, y = row.data()
    data = tf.data.Dataset.from_tensor_slices((x[:samples], y[:samples])).batch(32)
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    with strategy.scope():
        model = row.model()
        start = model.get_weights()
        rate = row.rate / (32 if reduction == "sum" else 1)
        model.compile(
            optimizer=sgd(rate),
            loss=cls(reduction=reduction),
            **compile_arguments("graph"),
        )
    history = model.fit(data.with_options(options), epochs=2, verbose=0)
    moved = [(b - a).ravel() for a, b in zip(start, model.get_weights())]
    return np.array(history.history["loss"]), np.concatenate(moved)


def fit_errors(strategy, row):
    """`fit` against Keras's own loss, and against one device."""
    errors = {}

    def add_errors(name, ours, expected):
        for part, a, b in zip(("history", "weights"), ours, expected):
            errors[f"{name}-{part}"] = relative_error(a, b)

    mean = "sum_over_batch_size"
    for reduction in (mean, "sum") if row == one_per_kind()[0] else (mean,):
        # The last batch has 11 samples, 6 for one replica and 5 for the other.
        ours, theirs = (
            fit(strategy, row, cls, reduction, 75) for cls in both(row).values()
        )
        add_errors(f"{reduction}-theirs", ours, theirs)
    adds_up = compat.GENERATION == 2 or compat.SCALES_BY_REPLICAS
    if adds_up and row.kind in ("reals", "binary", "onehot", "sequences"):
        # Means of even batches: one device does the same. Keras 3.0 to 3.7 does not
        # divide by the replicas (seen with 3.4.1, with Keras's own losses too).
        one_device = tf.distribute.get_strategy()
        ours = fit(strategy, row, row.ours, mean, 64)
        add_errors("one-device", ours, fit(one_device, row, row.ours, mean, 64))
    return errors


def mirrored():
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    results = {"loop": {}, "fit": {}, "refused": {}}
    for row in rows():
        results["loop"][row.loss] = custom_loop(strategy, row, SHARDS)
        results["refused"][row.loss] = refusals(strategy, row)
    for row in one_per_kind():
        results["fit"][row.loss] = fit_errors(strategy, row)
    return results


def worker():
    """One of two workers: the loop for one loss of each kind, and `fit` for one."""
    results = {"loop": {}, "fit": {}}
    for row in one_per_kind():
        results["loop"][row.loss] = custom_loop(STRATEGY, row, SHARDS)
    row = one_per_kind()[0]
    for who, cls in both(row).items():
        try:
            history, moved = fit(STRATEGY, row, cls, "sum_over_batch_size", 64)
            results["fit"][who] = [*history.tolist(), *moved.tolist()]
        except Exception as error:  # Keras 3 may not: the test says so
            results["fit"][who] = f"{type(error).__name__}: {error}"
    return results


def parameter_server():
    """A cluster of one parameter server and two workers, all in this process."""
    from socket import socket

    sockets = [socket() for _ in range(3)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    cluster = tf.train.ClusterSpec({"ps": addresses[:1], "worker": addresses[1:]})
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)  # or they wait
    servers = [
        tf.distribute.Server(cluster, job, index, protocol="grpc", config=config)
        for job, index in (("ps", 0), ("worker", 0), ("worker", 1))
    ]
    assert len(servers) == 3
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, rpc_layer="grpc"
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    results = {}
    for row in one_per_kind():
        x, y = row.data()
        model = head_model(row)  # where the variables are is not the loss's business
        with strategy.scope():
            weights = [tf.Variable(w) for w in model.get_weights()]
        results[row.loss] = {}
        for reduction in SERVED:
            loss = row.ours(reduction=reduction)
            expected = [loss_and_gradient(loss, model, x[s], y[s]) for s in SHARDS]
            step = remote_step(row, weights, loss)
            remote = [coordinator.schedule(step, args=(x[s], y[s])) for s in SHARDS]
            coordinator.join()
            found = [
                np.concatenate([np.ravel(part) for part in each.fetch()])
                for each in remote
            ]
            errors = [relative_error(a, b) for a, b in zip(found, expected)]
            results[row.loss][str(reduction)] = errors
        if compat.GENERATION == 2:
            results[row.loss]["fit"] = [served_fit(strategy, row)]
    return results


def served_fit(strategy, row):
    """The epoch losses of `fit` with ours against those with Keras's own.

    The rate is 0: workers that update the server in no order learn nothing that could
    be compared.
    """
    x, y = row.data()

    def dataset(_):
        return tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(len(x))

    def epochs(loss):
        with strategy.scope():
            model = head_model(row)
            model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss())
        creator = keras.utils.experimental.DatasetCreator(dataset)
        history = model.fit(creator, epochs=2, steps_per_epoch=2, verbose=0)
        return history.history["loss"]

    return relative_error(epochs(row.ours), epochs(row.keras or row.ours))


def remote_step(row, weights, loss):
    """What a worker does: the loss and its gradient in variables on the server."""

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(loss(y, forward(row, weights, x)))
        return [value, *tape.gradient(value, weights)]

    return step


def forward(row, weights, x):
    """The output layer of `row.head()`, written out."""
    kernel, bias = weights
    activation = keras.activations.get(row.activation)
    y_pred = activation(tf.tensordot(x, kernel, 1) + bias)
    return tf.math.l2_normalize(y_pred, axis=-1) if row.kind == "labels" else y_pred


if __name__ == "__main__":
    run = {
        "mirrored": mirrored,
        "worker": worker,
        "parameter-server": parameter_server,
    }[sys.argv[1]]
    print(json.dumps(run()))
    sys.stdout.flush()
    os._exit(0)  # servers and workers do not always end by themselves
