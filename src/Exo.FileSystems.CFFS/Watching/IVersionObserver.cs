// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Watching;

/// <summary>
/// Somebody who gives a volume's contents away without asking whether they still hold (<see cref="CffsFile.Version"/>, <see cref="CffsVolume.NamesVersion"/>): he hears of each change before
/// those can show it, and when they do. Called under the volume's locks: no waiting, no I/O, nothing of the volume's may be called.
/// </summary>
internal interface IVersionObserver
{
    /// <summary>A version is about to go on.</summary>
    void Begin();

    /// <summary>It has.</summary>
    void End();
}
