"""The same as pytorch.py for the two workloads without penalties, in TensorFlow (Keras)."""

import argparse
import json
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
parser = argparse.ArgumentParser()
parser.add_argument("workload", choices=["article28", "dcgan64"])
parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
parser.add_argument("--compile", action="store_true")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=9)
options = parser.parse_args()

import tensorflow as tf
from tensorflow.keras import Sequential
from tensorflow.keras.layers import (
    BatchNormalization, Conv2D, Conv2DTranspose, Dense, Flatten, Input, LeakyReLU, ReLU, Reshape, UpSampling2D,
)

tf.config.threading.set_intra_op_parallelism_threads(options.threads)
if options.precision == "bf16":
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
WARM_UP = 3


def article():
    generator = Sequential([
        Input([100]), Dense(7 * 7 * 128, activation="relu"), Reshape([7, 7, 128]),
        UpSampling2D(), Conv2D(128, 3, padding="same", activation="relu"),
        UpSampling2D(), Conv2D(64, 3, padding="same", activation="relu"),
        Conv2D(3, 3, padding="same", activation="tanh"),
    ])
    discriminator = Sequential([
        Input([28, 28, 3]), Conv2D(64, 3, activation="relu"), Conv2D(128, 3, activation="relu"), Flatten(), Dense(1),
    ])
    return generator, discriminator, [100, 100], [100, 28, 28, 3]


def dcgan():
    up = [Input([1, 1, 100]), Conv2DTranspose(512, 4, use_bias=False), BatchNormalization(), ReLU()]
    for width in [256, 128, 64]:
        up += [Conv2DTranspose(width, 4, 2, "same", use_bias=False), BatchNormalization(), ReLU()]
    up.append(Conv2DTranspose(3, 4, 2, "same", use_bias=False, activation="tanh"))
    down = [Input([64, 64, 3]), Conv2D(64, 4, 2, "same", use_bias=False), LeakyReLU(0.2)]
    for width in [128, 256, 512]:
        down += [Conv2D(width, 4, 2, "same", use_bias=False), BatchNormalization(), LeakyReLU(0.2)]
    down += [Conv2D(1, 4, use_bias=False), Flatten()]
    return Sequential(up), Sequential(down), [64, 1, 1, 100], [64, 64, 64, 3]


generator, discriminator, z_shape, x_shape = {"article28": article, "dcgan64": dcgan}[options.workload]()
of_generator, of_discriminator = (tf.keras.optimizers.Adam(2e-4, 0.5) for _ in range(2))


def softplus(logits):
    return tf.reduce_mean(tf.nn.softplus(tf.cast(logits, tf.float32)))


def watching(network):
    tape = tf.GradientTape(watch_accessed_variables=False)
    return tape, [weight.value for weight in network.trainable_variables]


@tf.function(jit_compile=options.compile)
def step():
    real = tf.random.uniform(x_shape, -1.0, 1.0)
    (outer, made_of), (inner, judged_by) = watching(generator), watching(discriminator)
    with outer:
        outer.watch(made_of)
        fake = generator(tf.random.normal(z_shape), training=True)
        with outer.stop_recording():
            with inner:
                inner.watch(judged_by)
                real_logits = discriminator(real, training=True)
                fake_logits = discriminator(tf.stop_gradient(fake), training=True)
                loss = softplus(-real_logits) + softplus(fake_logits)
            gradients = inner.gradient(loss, judged_by)
            of_discriminator.apply_gradients(zip(gradients, discriminator.trainable_variables))
        fooling = softplus(-discriminator(fake, training=True))
    gradients = outer.gradient(fooling, made_of)
    of_generator.apply_gradients(zip(gradients, generator.trainable_variables))
    return loss


@tf.function(jit_compile=options.compile)
def sample():
    return generator(tf.random.normal(z_shape), training=False)


def median_ms(call):
    for _ in range(WARM_UP):
        call().numpy()
    times = []
    for _ in range(options.steps):
        begun = time.perf_counter()
        call().numpy()
        times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2] * 1e3


print(json.dumps({
    "peer": f"TensorFlow {tf.__version__}", "workload": options.workload, "precision": options.precision,
    "channels_last": True, "compiled": options.compile, "threads": options.threads, "batch": x_shape[0],
    "step_ms": median_ms(step), "sample_ms": median_ms(sample),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
