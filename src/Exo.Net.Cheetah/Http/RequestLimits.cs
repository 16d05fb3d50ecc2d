// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>How much a request head may hold before it is refused.</summary>
/// <param name="RequestLineBytes">Longest request line with its CRLF; longer ones get 414.</param>
/// <param name="HeadBytes">Longest head with its empty line; longer ones get 431.</param>
/// <param name="FieldCount">Most field lines; more get 431.</param>
internal readonly record struct RequestLimits(int RequestLineBytes, int HeadBytes, int FieldCount);
