// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>Whether connections use explicit congestion notification (RFC 3168): routers mark packets instead of dropping them, and the sender slows down as for a loss, but less (RFC 8511).</summary>
public enum EcnUse
{
    /// <summary>Not at all.</summary>
    Never = 0,

    /// <summary>Where the peer asks for it when it connects.</summary>
    WhenAsked = 1,

    /// <summary>There, and connections that begin here ask for it. When their first SYN is refused or not answered, the next does not ask (RFC 3168 section 6.1.1.1).</summary>
    Ask = 2,
}
