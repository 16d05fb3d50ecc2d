// SPDX-License-Identifier: MIT
using Exo.Core.DownloadedCode;

namespace Exo.Core.Net;

/// <summary>
/// Code of a library OS that deals with some packets where they come in, without it: the exokernel's application-specific handler (ASH, SOSP '97 section 3.1) on Linux. The
/// kernel's verifier proves that it ends and touches nothing else; it runs in the soft interrupt that brings the packet, on whatever processor that is. See <see cref="NetworkDevice.SetHandler"/>.
/// </summary>
/// <param name="Ingress">Under the kernel's contract for the tc hooks (struct __sk_buff; TCX_NEXT, -1, for packets that it leaves alone). Other programs and the kernel see only those.</param>
/// <param name="Receive">Under the contract of socket filters: 0 for exactly the packets that <paramref name="Ingress"/> deals with, -1 for those that the device is to receive.</param>
public sealed record PacketHandler(Program Ingress, Program Receive);
