// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse;
using Exo.Cli.Output;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Administration;

/// <summary>Has a request carried out on the volume that a command line names, by whoever can: by the process that has it mounted, or by this one. Ctrl-C cancels it; progress shows on a terminal.</summary>
internal static class AnyVolume
{
    /// <summary>Carries it out.</summary>
    /// <param name="image">An image, or the directory where one is mounted.</param>
    /// <param name="request">What is to be done.</param>
    /// <param name="title">What it is called while it goes on.</param>
    /// <exception cref="IOException">It was refused, or failed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static TResult Run<TResult>(string image, VolumeRequest<TResult> request, string title)
        where TResult : VolumeResult
    {
        using Interruption interruption = new();
        StepCounts counts = new();
        if (MountedImage.Find(image) is { } mount)
        {
            using AdministrationClient client = AdministrationClient.Connect(mount);
            return StepProgress.Run(title, counts, () => client.Ask(request, counts, interruption.Token));
        }

        using CffsVolume volume = request.IsChange ? OpenImage.ForWriting(image) : OpenImage.ReadOnly(image);
        return StepProgress.Run(title, counts, () => (TResult)request.CarryOut(volume, counts, interruption.Token));
    }
}
