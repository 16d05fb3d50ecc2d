// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp.Handshake;

/// <summary>All that an answer to a SYN depends on beside the SYN itself and the time: constants of the programs that give it.</summary>
/// <param name="Ports">The ports that are listened on.</param>
/// <param name="Addresses">The interface's addresses at which they are.</param>
/// <param name="Hardware">The interface's own hardware address.</param>
/// <param name="Offsets">The key of the offsets of timestamps.</param>
/// <param name="OriginNs">What the monotonic clock said when the stack's clock said 0.</param>
/// <param name="WindowBytes">The window that is told, not scaled.</param>
/// <param name="WindowScale">How windows will be scaled.</param>
/// <param name="ScaledWindow">The window that is told then.</param>
/// <param name="SegmentBytesV4">The MSS told to IPv4 peers.</param>
/// <param name="SegmentBytesV6">The MSS told to IPv6 peers.</param>
/// <param name="Farewells">The descriptor of the memory of a <see cref="FarewellTable"/>, in which the secrets of cookies are too: they change.</param>
/// <param name="Answers">The descriptor of the memory of an <see cref="Answers.AnswerTable"/>; 0: requests are not answered.</param>
/// <param name="AnswersKey">That table's key.</param>
internal sealed record HandshakeAnswer(
    IReadOnlyCollection<ushort> Ports, IReadOnlyList<InterfaceAddress> Addresses, MacAddress Hardware, SipHash Offsets, long OriginNs, ushort WindowBytes, byte WindowScale, ushort ScaledWindow,
    ushort SegmentBytesV4, ushort SegmentBytesV6, int Farewells, int Answers = 0, ulong AnswersKey = 0);
