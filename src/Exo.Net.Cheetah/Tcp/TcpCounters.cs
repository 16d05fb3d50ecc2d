// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>What the TCP of a stack has done. Written by its thread, read by any.</summary>
internal sealed class TcpCounters
{
    public long SegmentsReceived, SegmentsRefused, ChecksumErrors;
    public long BytesSent, BytesResent, BytesAcknowledged, BytesReceived;
    public long ConnectionsOpened, ConnectionsClosed;
    public long Recoveries, Timeouts, TailLossProbes;
    public long SpuriousRecoveries, SpuriousTimeouts, DuplicateSacksSent, DuplicateSacksReceived;
    public long EcnConnections, CongestionMarks, MarkReductions;
    public long ChallengeAcks, ResetsSent, CookiesSent, CookiesAccepted, FarewellsElsewhere, BytesCopied;
    public long PathMtuReductions, PathMtuProbes, PathMtuRaises;
}
