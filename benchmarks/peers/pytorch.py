"""One training step and one batch of samples of a workload of `gander bench`, timed in PyTorch.

The networks, the batch and the step are those of crates/gander/src/bench/workload.rs: the discriminator on real and
detached fake images, then the generator against the updated discriminator, whose weights take no gradients; Adam for
both; random images. Prints a line of JSON.
"""

import argparse
import json
import resource
import time

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("workload", choices=["article28", "dcgan64", "r3gan32", "cyclegan128"])
parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--compile", action="store_true")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=9)
options = parser.parse_args()

torch.set_num_threads(options.threads)
torch.manual_seed(0)
MEMORY = torch.channels_last if options.channels_last else torch.contiguous_format
WARM_UP = 3


class Nearest(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="nearest")


def article():
    generator = nn.Sequential(
        nn.Linear(100, 7 * 7 * 128), nn.ReLU(), nn.Unflatten(1, (128, 7, 7)),
        Nearest(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
        Nearest(), nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 3, 3, padding=1), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 24 * 128, 1)
    )
    return generator, discriminator, [100, 100], [100, 3, 28, 28]


def dcgan():
    widths = [512, 256, 128, 64]
    up = [nn.ConvTranspose2d(100, 512, 4, bias=False), nn.BatchNorm2d(512), nn.ReLU()]
    for inside, outside in zip(widths, widths[1:]):
        up += [nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    up += [nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()]
    down = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for outside, inside in zip(widths[::-1], widths[-2::-1]):
        down += [nn.Conv2d(outside, inside, 4, 2, 1, bias=False), nn.BatchNorm2d(inside), nn.LeakyReLU(0.2)]
    down += [nn.Conv2d(512, 1, 4, bias=False), nn.Flatten()]
    return nn.Sequential(*up), nn.Sequential(*down), [64, 100, 1, 1], [64, 3, 64, 64]


class Filter(nn.Module):
    """Resampling by two with the separable filter [1, 3, 3, 1]."""

    def __init__(self, channels, up):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / 64 * (4 if up else 1)
        self.resample = F.conv_transpose2d if up else F.conv2d
        self.register_buffer("kernel", kernel.expand(channels, 1, 4, 4).clone())

    def forward(self, x):
        return self.resample(x, self.kernel.to(x.dtype), stride=2, padding=1, groups=x.shape[1])


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(c, 2 * c, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c // 16), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, c, 1, bias=False),
        )

    def forward(self, x):
        return x + self.inner(x)


class Modulated(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(c, 4, 4))
        self.scale = nn.Linear(64, c, bias=False)

    def forward(self, z):
        return self.scale(z)[:, :, None, None] * self.basis


def r3gan(c=64):
    blocks = lambda: [Block(c), Block(c)]
    generator, discriminator = [Modulated(c), *blocks()], [nn.Conv2d(3, c, 1, bias=False), *blocks()]
    for _ in range(3):
        generator += [Filter(c, True), *blocks()]
        discriminator += [Filter(c, False), *blocks()]
    generator.append(nn.Conv2d(c, 3, 1, bias=False))
    discriminator += [nn.Conv2d(c, c, 4, groups=c, bias=False), nn.Flatten(), nn.Linear(c, 1, bias=False)]
    return nn.Sequential(*generator), nn.Sequential(*discriminator), [64, 64], [64, 3, 32, 32]


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        part = lambda: [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=False), nn.InstanceNorm2d(c)]
        self.inner = nn.Sequential(*part(), nn.ReLU(), *part())

    def forward(self, x):
        return x + self.inner(x)


def translator():
    then = lambda c: [nn.InstanceNorm2d(c), nn.ReLU()]
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7, bias=False), *then(64),
        nn.Conv2d(64, 128, 3, 2, 1, bias=False), *then(128),
        nn.Conv2d(128, 256, 3, 2, 1, bias=False), *then(256),
        *[Residual(256) for _ in range(6)],
        nn.ConvTranspose2d(256, 128, 3, 2, 1, 1, bias=False), *then(128),
        nn.ConvTranspose2d(128, 64, 3, 2, 1, 1, bias=False), *then(64),
        nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh(),
    )


def judge():
    layers = [nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inside, outside, stride in [(64, 128, 2), (128, 256, 2), (256, 512, 1)]:
        layers += [nn.Conv2d(inside, outside, 4, stride, 1, bias=False), nn.InstanceNorm2d(outside), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def adam(*networks, betas=(0.5, 0.999)):
    weights = [w for network in networks for w in network.parameters()]
    return torch.optim.Adam(weights, 2e-4, betas, fused=True)


def minimize(optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def take_gradients(networks, wanted):
    for network in networks:
        network.requires_grad_(wanted)


def images(shape):
    return (torch.rand(shape) * 2 - 1).contiguous(memory_format=MEMORY)


def fast():
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16")


def softplus(logits):
    return F.softplus(logits.float()).mean()


def cyclegan():
    to_b, to_a, judge_a, judge_b = (net.to(memory_format=MEMORY) for net in [translator(), translator(), judge(), judge()])
    translators, judges = adam(to_b, to_a), adam(judge_a, judge_b)
    near = lambda logits, target: (logits.float() - target).square().mean()
    apart = lambda a, b: F.l1_loss(a.float(), b)

    def step():
        a, b = images([1, 3, 128, 128]), images([1, 3, 128, 128])
        take_gradients([judge_a, judge_b], False)
        with fast():
            fake_b, fake_a = to_b(a), to_a(b)
            loss = near(judge_b(fake_b), 1) + near(judge_a(fake_a), 1)
            loss = loss + 10 * (apart(to_a(fake_b), a) + apart(to_b(fake_a), b))
            loss = loss + 5 * (apart(to_b(b), b) + apart(to_a(a), a))
        minimize(translators, loss)
        take_gradients([judge_a, judge_b], True)
        with fast():
            loss = near(judge_a(a), 1) + near(judge_a(fake_a.detach()), 0)
            loss = loss + near(judge_b(b), 1) + near(judge_b(fake_b.detach()), 0)
        minimize(judges, 0.5 * loss)

    return step, lambda: to_b(images([1, 3, 128, 128])), [to_b], 1


def two_players():
    generator, discriminator, z_shape, x_shape = {"article28": article, "dcgan64": dcgan, "r3gan32": r3gan}[options.workload]()
    generator, discriminator = generator.to(memory_format=MEMORY), discriminator.to(memory_format=MEMORY)
    betas = (0.0, 0.9) if options.workload == "r3gan32" else (0.5, 0.999)
    of_generator, of_discriminator = adam(generator, betas=betas), adam(discriminator, betas=betas)
    make, tell = (torch.compile(generator), torch.compile(discriminator)) if options.compile else (generator, discriminator)

    def plain():
        real = images(x_shape)
        with fast():
            fake = make(torch.randn(z_shape))
            loss = softplus(-tell(real)) + softplus(tell(fake.detach()))
        minimize(of_discriminator, loss)
        take_gradients([discriminator], False)
        with fast():
            loss = softplus(-tell(fake))
        minimize(of_generator, loss)
        take_gradients([discriminator], True)

    def relativistic():
        real = images(x_shape).requires_grad_()
        with fast():
            with torch.no_grad():
                fake = make(torch.randn(z_shape)).float()
            fake.requires_grad_()
            real_logits, fake_logits = tell(real), tell(fake)
        slope = lambda logits, x: torch.autograd.grad(logits.float().sum(), x, create_graph=True)[0]
        penalty = slope(real_logits, real).square().sum() + slope(fake_logits, fake).square().sum()
        minimize(of_discriminator, softplus(fake_logits - real_logits) + 0.5 * penalty / len(real))
        take_gradients([discriminator], False)
        with fast():
            fake_logits = tell(make(torch.randn(z_shape)))
            with torch.no_grad():
                real_logits = tell(images(x_shape))
        minimize(of_generator, softplus(real_logits - fake_logits))
        take_gradients([discriminator], True)

    step = relativistic if options.workload == "r3gan32" else plain
    return step, lambda: make(torch.randn(z_shape)), [generator], x_shape[0]


def median_ms(call):
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(options.steps):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2] * 1e3


step, make_samples, samplers, batch = cyclegan() if options.workload == "cyclegan128" else two_players()


def sample():
    with torch.no_grad(), fast():
        make_samples()


step_ms = median_ms(step)
for network in samplers:
    network.eval()
print(json.dumps({
    "peer": f"PyTorch {torch.__version__.split('+')[0]}", "workload": options.workload, "precision": options.precision,
    "channels_last": options.channels_last, "compiled": options.compile, "threads": options.threads, "batch": batch,
    "step_ms": step_ms, "sample_ms": median_ms(sample),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
