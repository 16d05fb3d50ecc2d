// SPDX-License-Identifier: MIT
// A UNIX-like library operating system on Exo:
//
//     dotnet run -c Release --project samples/ExOS -- disk.img                  a prompt; the image is made if it is not there
//     dotnet run -c Release --project samples/ExOS -- disk.img script.sh        a script of the host's; its exit status is this program's
//     dotnet run -c Release --project samples/ExOS -- disk.img -c 'ls | wc -l'
//     dotnet run -c Release --project samples/ExOS -- disk.img --network tap:exos0 --address 10.0.0.2/24 -c 'nc -l 80'
using System.CommandLine;
using System.Runtime.InteropServices;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.Host;
using Exo.Net.Cheetah;
using Exo.Net.Cheetah.Ip;
using ExOS;
using ExOS.Network;
using ExOS.Processes;

Argument<string> image = new("IMAGE") { Description = "The image of the root file system; made if it is not there." };
Argument<string[]> script = new("SCRIPT") { Description = "A script of the host's and its arguments; without it: standard input.", Arity = ArgumentArity.ZeroOrMore };
Option<string?> command = new("-c") { Description = "Commands to run.", HelpName = "TEXT" };
Option<string> size = new("--size") { Description = "Size of a new image.", HelpName = "SIZE", DefaultValueFactory = _ => "64M" };
Option<string?> network = new("--network") { Description = "A TAP interface for sockets, tap:NAME, instead of the network within the system.", HelpName = "DEVICE" };
Option<string> address = new("--address") { Description = "The system's address on that interface.", HelpName = "ADDRESS/LENGTH", DefaultValueFactory = _ => "10.0.0.2/24" };
Option<string?> observe = new("--observe") { Description = "UNIX socket where 'exo top' can look at the system.", HelpName = "PATH" };
RootCommand root = new("A UNIX-like library operating system.") { image, script, command, size, network, address, observe };
root.SetAction(parsed =>
{
    if (!ByteSize.TryParse(parsed.GetRequiredValue(size), out long sizeBytes))
    {
        Console.Error.WriteLine($"exos: --size: '{parsed.GetValue(size)}' is not a size; write 64M or 1G");
        return 2;
    }

    string? tap = parsed.GetValue(network);
    if (tap is not null && (!tap.StartsWith("tap:", StringComparison.Ordinal) || tap.Length is < 5 or > 19))
    {
        Console.Error.WriteLine($"exos: --network: '{tap}' is not tap:NAME, the name of at most 15 letters");
        return 2;
    }

    InterfaceAddress own;
    try
    {
        own = InterfaceAddress.Parse(parsed.GetRequiredValue(address));
    }
    catch (FormatException)
    {
        Console.Error.WriteLine($"exos: --address: '{parsed.GetValue(address)}' is not an address and a prefix length; write 10.0.0.2/24");
        return 2;
    }

    try
    {
        string[] operands = parsed.GetValue(script) ?? [];
        string[] arguments =
            parsed.GetValue(command) is { } text ? ["sh", "-c", text, "sh", .. operands]
            : operands.Length > 0 ? ["sh", "-c", File.ReadAllText(operands[0]), .. operands]
            : ["sh"];
        bool isInteractive = arguments.Length == 1 && !Console.IsInputRedirected && !Console.IsOutputRedirected;
        using Stream input = Console.OpenStandardInput();
        using Stream output = Console.OpenStandardOutput();
        using ExosSystem system = ExosSystem.Boot(parsed.GetRequiredValue(image), sizeBytes / 4096 * 4096, input, output, isInteractive,
            tap is null ? null : frames => new TapNetwork(frames, tap[4..], new NetworkStackOptions { Addresses = [own] }));

        using ObservationServer? observed = parsed.GetValue(observe) is { } socket
            ? ObservationServer.Start(socket, () => ExokernelSnapshot.Take($"exos {parsed.GetValue(image)}", system.Frames, system.Volume.Disk, system.Root, system.Scheduler))
            : null;

        // The host's terminal makes a signal of ^C; whom it is for is the library operating system's affair.
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            system.Interrupt();
        });
        return system.Run("/bin/sh", arguments);
    }
    catch (Exception error) when (Failure.Describe(error) is { } line)
    {
        Console.Error.WriteLine($"exos: {line}");
        return 1;
    }
});
ParseResult parse = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
int status = parse.Invoke();
return parse.Errors.Count > 0 ? 2 : status;
