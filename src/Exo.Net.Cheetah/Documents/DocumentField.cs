// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>A header field that some documents are sent with, such as <c>Cache-Control</c>; in 304 responses too, unless it describes the bytes that those do not have (RFC 9110 section 15.4.5).</summary>
/// <param name="Pattern">
/// Which documents: their whole path, in which <c>*</c> stands for any bytes, slashes included: <c>*</c>, <c>/assets/*</c>, <c>*.css</c>. A folder's path is that of its <c>index.html</c>.
/// </param>
/// <param name="Name">The field's name: a token, none that the server sets itself.</param>
/// <param name="Value">Its value: printable ASCII.</param>
public sealed record DocumentField(string Pattern, string Name, string Value);
