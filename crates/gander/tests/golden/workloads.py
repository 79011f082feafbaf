"""Losses of the first three training steps of each workload of `gander bench`. PyTorch 2.15.0.

Weights, latents and images come from an integer hash of their name and index, which the test repeats, so that the
fixture holds nothing but what PyTorch made of them.

    article28, dcgan64           [3, 2]   loss of the discriminator, of the generator
    r3gan32                      [3, 4]   the same, then the R1 and the R2 penalty
    cyclegan128                  [3, 2]   the discriminators' loss, then all of the translators'
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "gander-tensor/tests/golden"))
from golden import Golden
from networks import Network, hashed, pixels_first, pixels_last

golden = Golden(__file__)
STEPS = 3


def article_generator(net, z):
    x = pixels_first(F.relu(net.linear("linear", z, 7 * 7 * 128)).reshape(-1, 7, 7, 128))
    up = lambda x: F.interpolate(x, scale_factor=2)
    x = F.relu(net.conv("conv0", up(x), 128, 3, 1, 1))
    x = F.relu(net.conv("conv1", up(x), 64, 3, 1, 1))
    return torch.tanh(net.conv("conv2", x, 3, 3, 1, 1))


def article_discriminator(net, x):
    x = F.relu(net.conv("conv1", F.relu(net.conv("conv0", x, 64, 3)), 128, 3))
    return net.linear("logit", pixels_last(x).flatten(1), 1)[:, 0]


def dcgan_generator(net, z):
    x = pixels_first(net.linear("project", z, 4 * 4 * 512, bias=False).reshape(-1, 4, 4, 512))
    x = F.relu(net.batch_norm("project_norm", x))
    for i, width in enumerate([256, 128, 64]):
        x = F.relu(net.batch_norm(f"up{i}.norm", net.conv_transpose(f"up{i}.conv", x, width, 4, 2, 1)))
    return torch.tanh(net.conv_transpose("to_image", x, 3, 4, 2, 1))


def dcgan_discriminator(net, x):
    x = F.leaky_relu(net.conv("from_image", x, 64, 4, 2, 1, bias=False), 0.2)
    for i, width in enumerate([128, 256, 512]):
        x = net.conv(f"down{i}.conv", x, width, 4, 2, 1, bias=False)
        x = F.leaky_relu(net.batch_norm(f"down{i}.norm", x), 0.2)
    return net.linear("logit", pixels_last(x).flatten(1), 1, bias=False)[:, 0]


def fir(x, up):
    k = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    k = (torch.outer(k, k) / 64 * (4 if up else 1)).repeat(x.shape[1], 1, 1, 1)
    return (F.conv_transpose2d if up else F.conv2d)(x, k, stride=2, padding=1, groups=x.shape[1])


def blocks(net, stage, x):
    for i in range(2):
        name, c = f"{stage}.block{i}", x.shape[1]
        y = F.leaky_relu(net.conv(f"{name}.conv0", x, 2 * c, 1), 0.2)
        y = F.leaky_relu(net.conv(f"{name}.conv1", y, 2 * c, 3, 1, 1, groups=2 * c // 16), 0.2)
        x = x + net.conv(f"{name}.conv2", y, c, 1, bias=False)
    return x


def r3gan_generator(net, z):
    scale = net.linear("modulate", z, 64, bias=False)
    x = pixels_first(net.weight("basis", [4, 4, 64])[None] * scale[:, None, None, :])
    for stage in range(4):
        x = blocks(net, f"stage{stage}", fir(x, True) if stage > 0 else x)
    return net.conv("to_image", x, 3, 1, bias=False)


def r3gan_discriminator(net, x):
    x = net.conv("from_image", x, 64, 1, bias=False)
    for stage in range(4):
        x = blocks(net, f"stage{stage}", fir(x, False) if stage > 0 else x)
    x = F.conv2d(x, net.weight("gather", [4, 4, 1, 64]).permute(3, 2, 0, 1), groups=64).flatten(1)
    return net.linear("logit", x, 1, bias=False)[:, 0]


def translator(net, x):
    def reflect(x, n):
        return F.pad(x, [n] * 4, mode="reflect")

    def norm(x):
        return F.instance_norm(x)

    x = F.relu(norm(net.conv("from_image", reflect(x, 3), 64, 7, bias=False)))
    x = F.relu(norm(net.conv("down0", x, 128, 3, 2, 1, bias=False)))
    x = F.relu(norm(net.conv("down1", x, 256, 3, 2, 1, bias=False)))
    for i in range(6):
        y = F.relu(norm(net.conv(f"block{i}.conv0", reflect(x, 1), 256, 3, bias=False)))
        x = x + norm(net.conv(f"block{i}.conv1", reflect(y, 1), 256, 3, bias=False))
    x = F.relu(norm(net.conv_transpose("up0", x, 128, 3, 2, 1, 1)))
    x = F.relu(norm(net.conv_transpose("up1", x, 64, 3, 2, 1, 1)))
    return torch.tanh(net.conv("to_image", reflect(x, 3), 3, 7))


def patch_discriminator(net, x):
    x = F.leaky_relu(net.conv("from_image", x, 64, 4, 2, 1), 0.2)
    for i, (width, stride) in enumerate([(128, 2), (256, 2), (512, 1)]):
        x = F.leaky_relu(F.instance_norm(net.conv(f"conv{i}", x, width, 4, stride, 1, bias=False)), 0.2)
    return net.conv("logit", x, 1, 4, 1, 1)


def adam(networks, betas):
    return torch.optim.Adam([w for net in networks for w in net.weights.values()], 2e-4, betas)


def minimize(optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def reals(call, shape):
    return pixels_first(hashed(f"reals{call}", shape, 1.0))


def latents(call, shape):
    return hashed(f"latents{call}", shape, 1.0)


def plain(generator, discriminator, z_shape, x_shape):
    g, d = Network("generator"), Network("discriminator")
    softplus = lambda x: F.softplus(x).mean()
    discriminator(d, generator(g, latents(0, z_shape)))
    og, od = adam([g], (0.5, 0.999)), adam([d], (0.5, 0.999))
    losses = []
    for step in range(STEPS):
        x, f = reals(step, x_shape), generator(g, latents(step, z_shape))
        loss_d = softplus(-discriminator(d, x)) + softplus(discriminator(d, f.detach()))
        minimize(od, loss_d)
        loss_g = softplus(-discriminator(d, f))
        minimize(og, loss_g)
        losses.append([loss_d.item(), loss_g.item()])
    return torch.tensor(losses)


def relativistic(z_shape, x_shape):
    g, d = Network("generator"), Network("discriminator")
    softplus = lambda x: F.softplus(x).mean()
    r3gan_discriminator(d, r3gan_generator(g, latents(0, z_shape)))
    og, od = adam([g], (0.0, 0.9)), adam([d], (0.0, 0.9))
    losses = []
    for step in range(STEPS):
        x = reals(2 * step, x_shape).requires_grad_()
        with torch.no_grad():
            f = r3gan_generator(g, latents(2 * step, z_shape))
        f.requires_grad_()
        lx, lf = r3gan_discriminator(d, x), r3gan_discriminator(d, f)
        penalties = [
            torch.autograd.grad(logits.sum(), images, create_graph=True)[0].square().sum((1, 2, 3)).mean()
            for logits, images in [(lx, x), (lf, f)]
        ]
        loss_d = softplus(lf - lx)
        minimize(od, loss_d + 0.5 * (penalties[0] + penalties[1]))
        x = reals(2 * step + 1, x_shape)
        f = r3gan_generator(g, latents(2 * step + 1, z_shape))
        loss_g = softplus(r3gan_discriminator(d, x) - r3gan_discriminator(d, f))
        minimize(og, loss_g)
        losses.append([loss_d.item(), loss_g.item(), penalties[0].item(), penalties[1].item()])
    return torch.tensor(losses)


def cycle():
    a2b, b2a, da, db = (Network(name) for name in ["to_b", "to_a", "judge_a", "judge_b"])
    mse = lambda logits, target: ((logits - target) ** 2).mean()
    x, y = reals("a", [1, 128, 128, 3]), reals("b", [1, 128, 128, 3])
    patch_discriminator(da, translator(b2a, y)), patch_discriminator(db, translator(a2b, x))
    og, od = adam([a2b, b2a], (0.5, 0.999)), adam([da, db], (0.5, 0.999))
    losses = []
    for _ in range(STEPS):
        fy, fx = translator(a2b, x), translator(b2a, y)
        loss_g = (
            mse(patch_discriminator(db, fy), 1) + mse(patch_discriminator(da, fx), 1)
            + 10 * F.l1_loss(translator(b2a, fy), x) + 10 * F.l1_loss(translator(a2b, fx), y)
            + 5 * F.l1_loss(translator(a2b, y), y) + 5 * F.l1_loss(translator(b2a, x), x)
        )
        minimize(og, loss_g)
        judged = [(da, x, fx), (db, y, fy)]
        loss_d = sum(
            0.5 * (mse(patch_discriminator(d, real), 1) + mse(patch_discriminator(d, fake.detach()), 0))
            for d, real, fake in judged
        )
        minimize(od, loss_d)
        losses.append([loss_d.item(), loss_g.item()])
    return torch.tensor(losses)


golden.store("article28", plain(article_generator, article_discriminator, [100, 100], [100, 28, 28, 3]))
golden.store("dcgan64", plain(dcgan_generator, dcgan_discriminator, [64, 100], [64, 64, 64, 3]))
golden.store("r3gan32", relativistic([64, 64], [64, 32, 32, 3]))
golden.store("cyclegan128", cycle())
golden.save()
