// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Exo.Cli.Administration;

/// <summary>
/// What an administrator and the process that mounts say to each other, behind <see cref="Exo.Host.Protocol.Hello.Administrator"/>: frames of a length (u32, little-endian) and as many bytes of JSON. The administrator sends one
/// <see cref="VolumeRequest"/>; he is sent any number of replies with <see cref="AdministrationReply.Done"/>, then one with the result or an error, and the connection ends. Any byte that he sends behind the request,
/// and his going away, cancels it.
/// </summary>
internal static class AdministrationFrames
{
    /// <summary>More than two paths of any length that the kernel takes.</summary>
    public const int RequestBytesMax = 256 << 10;

    /// <summary>More than any list of snapshots.</summary>
    public const int ReplyBytesMax = 64 << 20;

    /// <summary>The name of a mount's socket begins so; what follows is random, so that nobody can have taken it before.</summary>
    public static string NameOf(int connectionNumber) => $"exo-mount/{connectionNumber}/";

    public static byte[] Frame(VolumeRequest request) => Frame(JsonSerializer.SerializeToUtf8Bytes(request, AdministrationJson.Default.VolumeRequest));

    public static byte[] Frame(AdministrationReply reply) => Frame(JsonSerializer.SerializeToUtf8Bytes(reply, AdministrationJson.Default.AdministrationReply));

    /// <summary>A request, or null where the bytes are none that makes sense.</summary>
    public static VolumeRequest? ParseRequest(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, AdministrationJson.Default.VolumeRequest) is { IsWellFormed: true } request ? request : null;
        }
        catch (Exception malformed) when (malformed is JsonException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>A reply, or null where the bytes are none.</summary>
    public static AdministrationReply? ParseReply(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, AdministrationJson.Default.AdministrationReply);
        }
        catch (Exception malformed) when (malformed is JsonException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>The next frame's bytes; null when the other side has gone, or says that more come than may.</summary>
    public static async Task<byte[]?> ReceiveAsync(Socket socket, int bytesMax, CancellationToken cancellationToken)
    {
        byte[] length = new byte[sizeof(uint)];
        if (!await FillAsync(socket, length, cancellationToken).ConfigureAwait(false))
        {
            return null;
        }

        uint bytes = BinaryPrimitives.ReadUInt32LittleEndian(length);
        if (bytes > bytesMax)
        {
            return null;
        }

        byte[] json = new byte[bytes];
        return await FillAsync(socket, json, cancellationToken).ConfigureAwait(false) ? json : null;
    }

    /// <summary>Sends all of it.</summary>
    public static async Task SendAsync(Socket socket, byte[] frame, CancellationToken cancellationToken)
    {
        for (int sent = 0; sent < frame.Length;)
        {
            sent += await socket.SendAsync(frame.AsMemory(sent), cancellationToken).ConfigureAwait(false);
        }
    }

    private static byte[] Frame(byte[] json)
    {
        byte[] frame = new byte[sizeof(uint) + json.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(frame, (uint)json.Length);
        json.CopyTo(frame, sizeof(uint));
        return frame;
    }

    private static async Task<bool> FillAsync(Socket socket, Memory<byte> into, CancellationToken cancellationToken)
    {
        while (!into.IsEmpty)
        {
            int received = await socket.ReceiveAsync(into, cancellationToken).ConfigureAwait(false);
            if (received == 0)
            {
                return false;
            }

            into = into[received..];
        }

        return true;
    }
}

/// <summary>One reply: how far it has come, or, the last one, what came of it.</summary>
internal sealed record AdministrationReply
{
    /// <summary>Steps done (<see cref="Output.StepCounts.Items"/>).</summary>
    public long Done { get; init; }

    /// <summary>How many there will be; 0: nobody knows.</summary>
    public long Expected { get; init; }

    /// <summary>What came of it.</summary>
    public VolumeResult? Result { get; init; }

    /// <summary>Why nothing came of it, in one line.</summary>
    public string? Error { get; init; }

    /// <summary>Nothing came of it because the administrator did not want it any more.</summary>
    public bool IsCancelled { get; init; }

    /// <summary>Nothing follows.</summary>
    [JsonIgnore]
    public bool IsLast => Result is not null || Error is not null || IsCancelled;
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(VolumeRequest))]
[JsonSerializable(typeof(AdministrationReply))]
internal sealed partial class AdministrationJson : JsonSerializerContext;
