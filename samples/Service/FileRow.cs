// SPDX-License-Identifier: MIT
namespace Service;

/// <summary>A file of the list.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Modified">When its contents were stored.</param>
internal sealed record FileRow(string Name, long Bytes, DateTimeOffset Modified);
