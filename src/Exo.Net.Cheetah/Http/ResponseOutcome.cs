// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>What a request came to.</summary>
/// <param name="Status">The status of the response.</param>
/// <param name="BodyBytes">Bytes of it behind its head.</param>
internal readonly record struct ResponseOutcome(int Status, long BodyBytes);
