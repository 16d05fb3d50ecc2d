// SPDX-License-Identifier: MIT
// A folder goes into a raw disk image, and the image is served over HTTP:
//
//     dotnet run -c Release --project samples/Site                       this project's own pages
//     dotnet run -c Release --project samples/Site -- --content DIR      any other folder
//
// Three floors of Exo do the work: C-FFS keeps the files, Cheetah serves them, and both live in one pool of page frames,
// so that what was read from the disk is what is sent. The first run makes the image; later runs only mount it.
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah;
using Site;

if (SiteOptions.Parse(args, out int exitCode) is not { } options)
{
    return exitCode;
}

try
{
    using Interruption stop = new(); // Ctrl-C and SIGTERM
    SiteReport report = new(options);

    // 1. The volume: mount the image, or make it and copy the folder into it.
    using CffsVolume volume = SiteImage.MountOrBuild(options, report, stop.Token);

    // 2. The server: documents are files of the volume, and responses leave from the volume's own frames.
    CffsDocumentSource documents = new(volume);
    CheetahServer server = new(new CheetahServerOptions { EndPoint = options.Listen }, documents, volume.Frames);
    report.Time("listen", server.Start);

    report.Print(volume, server.EndPoint);
    stop.Token.WaitHandle.WaitOne();

    // 3. The end: finish what is being sent, then unmount (leaving the block does that).
    server.StopAsync(drainTimeout: TimeSpan.FromSeconds(5)).GetAwaiter().GetResult();
    Console.WriteLine($"served {server.Counters.Requests} requests; the image is unmounted cleanly");
    return 0;
}
catch (Exception error) when (Failure.Describe(error) is { } line)
{
    Console.Error.WriteLine($"site: {line}");
    return 1;
}
