"""Train picto's bundled model, a small SigLIP, and export it as a folder that transformers loads.

    python -m pictocli.mini.train DATA CHECKPOINTS --minutes 90      # train, or go on after a stop
    python -m pictocli.mini.train DATA CHECKPOINTS --export FOLDER   # write the newest checkpoint

DATA holds the `.npz` picture sets (WebP bytes, offsets, labels) and the two class tables that `captions.py` reads.
Two losses share one logit matrix, pictures × captions: cross-entropy over the captions of the picture's own data set
(fast), and SigLIP's sigmoid loss over every caption known true or false (what makes a probability mean something),
whose weight rises.  A third, supervised contrastive, draws pictures of one class together (what `similar` needs).
The schedule runs on training time, so that a run ends when it should on whatever machine.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessorPil, SiglipModel

from pictocli.mini import captions as words
from pictocli.mini.captions import COLOURS, MAX_TOKENS, Concept, PictureClass
from pictocli.mini.pictures import SIZE, augment, batches, colour_truth, held_out_rows, load_pictures, to_unit
from pictocli.mini.truth import read_truth
from pictocli.taxonomy import load as load_taxonomy

TAXONOMY = Path(__file__).parent.parent / "taxonomy.toml"
EXTRA_CAPTIONS = 112  # a step, beside the classes' own
DOUBT = 0.15  # the weight of "not known" as "false"
KINSHIP = 12.0  # the scale of picture-to-picture cosines (a temperature of .08, within Khosla et al. 2020's range)
VISION = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4}
TEXT = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
Labels = tuple[list[str], NDArray[np.int8]]  # ids and truth, as `read_truth` gives them


def build(vocab: int) -> SiglipModel:
    """The model with its starting values."""
    vision = VISION | {"image_size": SIZE, "patch_size": 8}
    text = TEXT | {"vocab_size": vocab, "max_position_embeddings": MAX_TOKENS, "projection_size": VISION["hidden_size"]}
    text |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    # "eager" attention: with 26 to 64 tokens plain matrix products train 1.4 times as fast as torch's CPU kernel.
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision, attn_implementation="eager"))
    nn.init.constant_(model.logit_scale, math.log(15))
    nn.init.constant_(model.logit_bias, -8.0)
    # The pooled text position is padding: with the usual 0.02 every caption looks alike and learning stalls.
    nn.init.normal_(model.text_model.embeddings.token_embedding.weight, std=0.5)
    model.vision_model.embeddings.position_embedding.weight.data.copy_(sincos(SIZE // 8, VISION["hidden_size"]) * 0.3)
    for layer in model.vision_model.encoder.layers:  # attention that starts near "attend to what is like me"
        q, k = layer.self_attn.q_proj.weight.data, layer.self_attn.k_proj.weight.data
        k.copy_(0.7 * q + 0.7 * k)
    return model


def sincos(side: int, width: int) -> Tensor:
    """Two-dimensional sine-cosine positions, (side², width)."""
    omega = 1000.0 ** (-torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * omega for axis in (x, y)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)


def embed_pictures(model: SiglipModel, pixels: Tensor, keep: float = 1.0) -> Tensor:
    """Unit vectors of pictures in -1…1, from a random share `keep` of their patches."""
    vision = model.vision_model
    x = vision.embeddings(pixels)
    if keep < 1:
        order = torch.rand(x.shape[:2], device=x.device).argsort(1)[:, : int(keep * x.shape[1])]
        x = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
    x = vision.post_layernorm(vision.encoder(inputs_embeds=x).last_hidden_state)
    return nnf.normalize(vision.head(x).float(), dim=-1)


def embed_texts(model: SiglipModel, ids: Tensor) -> Tensor:
    """Unit vectors of token ids padded to MAX_TOKENS, no mask: as picto asks for them."""
    return nnf.normalize(model.text_model(input_ids=ids).pooler_output.float(), dim=-1)


class Captions:
    """Draws the captions of a step, and knows which of them hold for which class."""

    def __init__(
        self, classes: list[PictureClass], concepts: list[Concept], labels: Labels, tokenizer: Tokenizer, device: str
    ) -> None:
        self.concepts, self.tokenizer, self.device, self.n = concepts, tokenizer, device, len(classes)
        # What the table leaves open teaches nothing: it says of each label where it is false, too.
        columns = dict(zip(labels[0], np.where(labels[1] < 0, -2, labels[1]).T.tolist(), strict=True))
        truth = [columns[k.label] if k.kind == "label" else [words.truth(c, k) for c in classes] for k in concepts]
        self.truth = torch.tensor(truth, device=device).T
        # A class's rivals in the cross-entropy; traffic signs, a set of one class, borrow CIFAR's.
        sets = [{"gtsrb-train": "cifar10-train"}.get(c.data_set, c.data_set) for c in classes]
        rivals = [[name == b.data_set or c is b for b in classes] for name, c in zip(sets, classes, strict=True)]
        self.rivals = torch.tensor(rivals, device=device)
        middle = range(self.n, len(concepts) - len(COLOURS))
        self.seen = [i for i in middle if (self.truth[:, i] == 1).any()]
        self.unseen = [i for i in middle if (self.truth[:, i] != 1).all() and (self.truth[:, i] == 0).any()]

    def encode(self, texts: list[str]) -> Tensor:
        """Token ids, (texts, MAX_TOKENS)."""
        rows = [e.ids[:MAX_TOKENS] for e in self.tokenizer.encode_batch(texts)]
        return torch.tensor([r + [0] * (MAX_TOKENS - len(r)) for r in rows], device=self.device)

    def draw(self, rng: random.Random) -> tuple[Tensor, Tensor]:
        """One caption of every class, of some other concepts, of every colour: token ids, and the concepts' numbers."""
        part = EXTRA_CAPTIONS * 3 // 4
        chosen = [*range(self.n), *rng.sample(self.seen, part), *rng.sample(self.unseen, EXTRA_CAPTIONS - part)]
        chosen += range(len(self.concepts) - len(COLOURS), len(self.concepts))
        ids = self.encode([self.concepts[i].caption(rng) for i in chosen])
        return ids, torch.tensor(chosen, device=self.device)


def losses(logits: Tensor, known: Tensor, y: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy over the class captions (smoothed by 0.1), and the sigmoid loss over everything known.

    What is not known counts as false with little weight: a word of which only the true pictures are listed, such as
    "person", would else fit every picture.
    """
    allowed = rivals[y]
    logp = logits[:, : rivals.shape[1]].masked_fill(~allowed, -1e4).log_softmax(1)
    smooth = (logp * allowed).sum(1) / allowed.sum(1)
    entropy = -(0.9 * logp.gather(1, y[:, None])[:, 0] + 0.1 * smooth).mean()
    sigmoid = nnf.binary_cross_entropy_with_logits(logits, (known == 1).float(), reduction="none")
    weight = torch.where(known >= 0, 1.0, torch.where(known == -1, DOUBT, 0.0))
    return entropy, (sigmoid * weight).sum(1).mean()


def kinship(images: Tensor, y: Tensor, rivals: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020) among the pictures of one data set."""
    other = rivals[y][:, y] & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    logp = (images @ images.T * KINSHIP).masked_fill(~other, -1e4).log_softmax(1)
    same = (y[:, None] == y) & other
    return -((logp * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def optimizers(model: SiglipModel, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices; AdamW for embeddings, norms, biases and the pooling attention."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and (".layers." in n or ".head.mlp.fc" in n)]
    taken = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in taken]
    muon = torch.optim.Muon(hidden, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)]


@dataclass
class Training:
    """One run: what learns, what it learns from, and how far it is."""

    args: argparse.Namespace
    model: SiglipModel
    tuners: list[torch.optim.Optimizer]
    captions: Captions
    classes: list[PictureClass]
    pictures: Tensor
    labels: Tensor
    checkpoint: Path
    look: Any  # embed_pictures, compiled where that pays
    seconds: float = 0.0
    images: int = 0
    steps: int = 0

    def save(self) -> None:
        part = self.checkpoint.with_suffix(".part")
        state = {"seconds": self.seconds, "images": self.images, "steps": self.steps}
        tuners = [t.state_dict() for t in self.tuners]
        torch.save({"model": self.model.state_dict(), "tuners": tuners, "state": state}, part)
        part.replace(self.checkpoint)

    def resume(self) -> None:
        saved = torch.load(self.checkpoint)
        self.model.load_state_dict(saved["model"])
        for tuner, values in zip(self.tuners, saved["tuners"], strict=True):
            tuner.load_state_dict(values)
        self.seconds, self.images, self.steps = (saved["state"][k] for k in ("seconds", "images", "steps"))

    def step(self, rows: Tensor, rng: random.Random) -> str:
        """Learn from one batch; the losses, in words."""
        done = self.seconds / (self.args.minutes * 60)
        for group in (g for tuner in self.tuners for g in tuner.param_groups):
            group["lr"] = self.args.rate * min(1.0, done / 0.02 + 0.01, (1 - done) / 0.96)
        device = self.captions.device
        x, y = augment(self.pictures[rows.to(self.pictures.device)].to(device)), self.labels[rows].to(device)
        ids, chosen = self.captions.draw(rng)
        keep = 0.4 if done < 0.5 else 0.5 if done < 0.88 else 1.0
        with torch.autocast(device, torch.bfloat16):
            images, texts = self.look(self.model, x, keep), embed_texts(self.model, ids)
        known = self.captions.truth[y][:, chosen]
        known[:, -len(COLOURS) :] = colour_truth(x)
        logits = images @ texts.T * self.model.logit_scale.exp() + self.model.logit_bias
        entropy, sigmoid = losses(logits, known, y, self.captions.rivals)
        kin = (0.5 if done < 0.42 else 1.0 if done < 0.6 else 2.0) * kinship(images, y, self.captions.rivals)
        (entropy + (0.05 + 0.25 * done) * sigmoid + kin).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        for tuner in self.tuners:
            tuner.step()
            tuner.zero_grad(set_to_none=True)
        self.steps, self.images = self.steps + 1, self.images + len(rows)
        said = f"entropy {entropy.item():.3f} sigmoid {sigmoid.item():.3f} kin {kin.item():.3f}"
        return said if self.steps % 50 == 0 else ""

    def run(self) -> None:
        """Learn until the minutes are used; a line every 50 steps, a checkpoint every few minutes."""
        rng = random.Random(self.args.seed + self.steps)
        stream = batches(self.labels, self.classes, self.args.batch, self.args.seed + self.steps)
        clock = saved = time.monotonic()
        while self.seconds < self.args.minutes * 60:
            said, images, before = self.step(next(stream), rng), self.images, self.seconds
            now = time.monotonic()
            self.seconds, clock = self.seconds + now - clock, now
            if said:
                speed = self.args.batch / (self.seconds - before)
                scale, bias = self.model.logit_scale.exp().item(), self.model.logit_bias.item()
                hours = f"images {images} hours {self.seconds / 3600:.2f} images/s {speed:.0f}"
                print(f"{hours} {said} scale {scale:.1f} bias {bias:.2f}", flush=True)
            ended = self.seconds >= self.args.minutes * 60
            if ended or now - saved > self.args.save_minutes * 60:
                self.save()
                print(f"held out: {self.held_out(1 if ended else 5)} after {self.images} images", flush=True)
                clock = saved = time.monotonic()

    @torch.no_grad()
    def held_out(self, every: int) -> str:
        """Accuracy by text prompts and precision among neighbours on held-out rows, or one in `every` of them."""
        said, device = [], self.captions.device
        for data_set in ("tiny-imagenet", "cifar10-train"):
            rows = held_out_rows(self.labels, self.classes, data_set, every)
            mine = [i for i, c in enumerate(self.classes) if c.data_set == data_set]
            names = [words.canonical(f"a photo of a {self.classes[i].names[0]}") for i in mine]
            with torch.autocast(device, torch.bfloat16):
                texts = embed_texts(self.model, self.captions.encode(names))
                seen = [embed_pictures(self.model, to_unit(self.pictures[r].to(device))) for r in rows.chunk(20)]
            images, y = torch.cat(seen), (self.labels[rows] - mine[0]).to(device)
            hit = (images @ texts.T).topk(5).indices == y[:, None]
            near = (images @ images.T).fill_diagonal_(-1).topk(5).indices
            kin = (y[near] == y[:, None]).float().mean().item()
            top1, top5 = hit[:, 0].float().mean().item(), hit.any(1).float().mean().item()
            said.append(f"{data_set} top-1 {top1:.3f} top-5 {top5:.3f} neighbours {kin:.3f}")
        return ", ".join(said)


def prepare(args: argparse.Namespace) -> Training:
    """A run as its arguments describe it, gone on with from its checkpoint where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.checkpoints.mkdir(parents=True, exist_ok=True)
    classes = words.read_classes(args.data)
    concepts = words.read_concepts(classes, args.taxonomy)
    path = args.checkpoints / "tokenizer.json"
    if not path.exists():
        words.train_tokenizer(concepts, args.taxonomy).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    pictures, labels = load_pictures(args.data, args.checkpoints / "pictures.pt", classes)
    torch.manual_seed(args.seed)
    model = build(tokenizer.get_vocab_size()).to(device)
    look = torch.compile(embed_pictures) if device == "cuda" else embed_pictures
    drawn = Captions(classes, concepts, read_truth(args.data, load_taxonomy(args.taxonomy)), tokenizer, device)
    kept, tuners = args.checkpoints / "model.pt", optimizers(model, args.rate)
    training = Training(args, model, tuners, drawn, classes, pictures.to(device), labels, kept, look)
    if training.checkpoint.exists():
        training.resume()
    return training


def export(checkpoints: Path, folder: Path) -> None:
    """Write the newest checkpoint as a transformers folder, weights in float16."""
    tokenizer = Tokenizer.from_file(str(checkpoints / "tokenizer.json"))
    model = build(tokenizer.get_vocab_size())
    model.load_state_dict(torch.load(checkpoints / "model.pt", map_location="cpu")["model"])
    model.half().save_pretrained(folder)
    tokens = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    tokens.model_max_length = MAX_TOKENS
    tokens.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE}, resample=3).save_pretrained(folder)


def main() -> None:
    """Read the command line; train or export."""
    parser = argparse.ArgumentParser(description="Train picto's bundled model.")
    parser.add_argument("data", type=Path, help="folder of the picture sets and class tables")
    parser.add_argument("checkpoints", type=Path, help="folder for the checkpoint, the tokenizer and decoded pictures")
    parser.add_argument("--taxonomy", type=Path, default=TAXONOMY)
    parser.add_argument("--minutes", type=float, default=90, help="training time, over all resumed parts")
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write the newest checkpoint here instead of training")
    args = parser.parse_args()
    export(args.checkpoints, args.export) if args.export else prepare(args).run()


if __name__ == "__main__":
    main()
