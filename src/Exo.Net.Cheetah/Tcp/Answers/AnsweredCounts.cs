// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp.Answers;

/// <summary>What has been answered where packets come in.</summary>
internal struct AnsweredCounts
{
    /// <summary>Requests.</summary>
    public long Requests;

    /// <summary>Bytes of responses.</summary>
    public long Bytes;

    /// <summary>Of these, bytes of documents.</summary>
    public long BodyBytes;

    /// <summary>Connections that consisted of one of these requests.</summary>
    public long Connections;
}
