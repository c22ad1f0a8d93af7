"""Norms and scales of channels."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import ZERO, Size, product


@dataclass(slots=True)
class ChannelWise(Op):
    """A norm or scale of (*lead, dim), with a gain and an optional bias per channel.

    Attributes:
        lead: the axes before the channels.
        dim: number of channels.
    """

    lead: Shape
    dim: Size

    @property
    def words(self) -> str:
        own = "a gain" if self.biases is ZERO else "a gain and a bias"
        return f"{self.work.replace('_', ' ')}, {own} per channel"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.dim)

    @property
    def params(self) -> Size:
        return self.dim if self.biases is ZERO else 2 * self.dim

    @property
    def weights(self) -> Size:
        return self.dim

    @property
    def uncounted(self) -> Uncounted:
        return ((self.work, product(self.shape)),)


@dataclass(slots=True)
class LayerNorm(ChannelWise):
    """Layer normalisation of the last axis, with a gain and an optional bias."""

    bias: bool = True
    work = Work.LAYER_NORM

    @property
    def biases(self) -> Size:
        return self.dim if self.bias else ZERO


@dataclass(slots=True)
class RMSNorm(ChannelWise):
    """The last axis over its root mean square (Zhang and Sennrich 2019, eq. 4).

    Attributes:
        gain: True if it has a gain per channel.
    """

    gain: bool = True
    work = Work.RMS_NORM

    @property
    def words(self) -> str:
        return "rms norm, a gain per channel" if self.gain else "rms norm, without a gain"

    @property
    def params(self) -> Size:
        return self.weights

    @property
    def weights(self) -> Size:
        return self.dim if self.gain else ZERO


@dataclass(slots=True)
class Affine(ChannelWise):
    """A gain and a bias per channel, without statistics (Touvron et al. 2021, ResMLP, eq. 1)."""

    work = Work.AFFINE

    @property
    def biases(self) -> Size:
        return self.dim


@dataclass(slots=True)
class TokenBatchNorm(ChannelWise):
    """Batch normalisation of each channel, over the tokens of all images."""

    work = Work.BATCH_NORM

    @property
    def biases(self) -> Size:
        return self.dim

    @property
    def channels(self) -> Size:
        """Number of channels, each with a running mean and variance."""
        return self.dim


@dataclass(slots=True)
class TokenGroupNorm(ChannelWise):
    """Normalisation of all channels of all tokens of an image, as one group (Wu and He 2018).

    Attributes:
        bias: True if it has a bias per channel beside its gain.
    """

    bias: bool = True
    work = Work.GROUP_NORM

    @property
    def biases(self) -> Size:
        return self.dim if self.bias else ZERO


@dataclass(slots=True)
class LayerScale(ChannelWise):
    """A gain per channel of a residual branch (Touvron et al. 2021, CaiT, eq. 4), or of what it is
    added to."""

    work = Work.LAYER_SCALE


@dataclass(slots=True)
class BatchNorm(Op):
    """Batch normalisation of the channels of (rows, channels, *positions).

    Attributes:
        rows: number of tokens or images.
        channels: number of channels.
        positions: spatial axes of an image; none if a row is a token.
    """

    rows: Size
    channels: Size
    positions: Shape = ()
    work = Work.BATCH_NORM

    @property
    def type(self) -> str:
        return f"BatchNorm{max(1, len(self.positions))}d"

    @property
    def words(self) -> str:
        return "batch norm, a gain and a bias per channel"

    @property
    def shape(self) -> Shape:
        return (self.rows, self.channels, *self.positions)

    @property
    def params(self) -> Size:
        return 2 * self.channels

    @property
    def weights(self) -> Size:
        return self.channels

    @property
    def biases(self) -> Size:
        return self.channels

    @property
    def uncounted(self) -> Uncounted:
        return ((self.work, product(self.shape)),)
