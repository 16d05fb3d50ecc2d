// SPDX-License-Identifier: MIT
using System.Reflection;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>One shape for all of it: what takes a path takes it as text and as bytes, and what can wait has an asynchronous twin with the same parameters and a token at the end.</summary>
public sealed class ApiShapeTests
{
    // Of these nothing waits: the numbers are in memory, or only what is in the cache is looked at. TryLend fills a span, which nobody can wait for.
    private static readonly string[] s_waitless =
    [
        "CffsVolume.Abandon", "CffsVolume.GetSpace", "CffsVolume.SetAside", "CffsVolume.TryLend", "CffsFile.AsStream", "CffsFile.PlaceIn", "CffsFile.TryLease", "CffsDirectory.Confine", "CffsDirectory.Dispose",
        "CffsDirectory.Read", "CffsDirectoryReader.Dispose",
    ];

    private static readonly Type[] s_types = [typeof(CffsVolume), typeof(CffsFile), typeof(CffsDirectory), typeof(CffsDirectoryReader), typeof(CffsCheck), typeof(CffsRepair)];

    private static IEnumerable<MethodInfo> Methods => s_types.SelectMany(
        type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly).Where(method => !method.IsSpecialName));

    [Fact]
    public void What_can_wait_has_an_asynchronous_twin()
    {
        HashSet<string> known = [.. Methods.Select(Signature)];
        string[] missing = [.. Methods
            .Where(method => !IsAsync(method) && !s_waitless.Contains($"{method.DeclaringType!.Name}.{method.Name}"))
            .Select(method => $"{method.DeclaringType!.Name}.{method.Name}Async({string.Join(", ", Parameters(method).Select(ForAsync).Append(nameof(CancellationToken)))})")
            .Select(twin => twin.Replace("DisposeAsync(CancellationToken)", "DisposeAsync()", StringComparison.Ordinal))
            .Where(twin => !known.Contains(twin))];
        Assert.Empty(missing);
    }

    [Fact]
    public void What_is_asynchronous_has_a_synchronous_twin()
    {
        HashSet<string> known = [.. Methods.Where(method => !IsAsync(method)).Select(method => $"{method.DeclaringType!.Name}.{method.Name}")];
        string[] missing = [.. Methods
            .Where(IsAsync)
            .Select(method => $"{method.DeclaringType!.Name}.{method.Name[..^5]}")
            .Where(twin => !known.Contains(twin))];
        Assert.Empty(missing);
    }

    [Fact]
    public void What_takes_a_path_of_the_volume_takes_it_as_text_and_as_bytes()
    {
        HashSet<string> known = [.. Methods.Select(Signature)];
        foreach (MethodInfo method in Methods.Where(method => !method.IsStatic && method.GetParameters().Any(parameter => IsName(parameter) && parameter.ParameterType == typeof(string))))
        {
            string other = $"{method.DeclaringType!.Name}.{method.Name}({string.Join(", ", method.GetParameters().Select(parameter => IsName(parameter) ? "ReadOnlyMemory<Byte>" : Name(parameter.ParameterType)))})";
            Assert.Contains(other, known);
        }

        foreach (MethodInfo method in Methods.Where(method => !method.IsStatic && method.GetParameters().Any(parameter => IsName(parameter) && parameter.ParameterType != typeof(string))))
        {
            string other = $"{method.DeclaringType!.Name}.{method.Name}({string.Join(", ", method.GetParameters().Select(parameter => IsName(parameter) ? "String" : Name(parameter.ParameterType)))})";
            Assert.Contains(other, known);
        }
    }

    /// <summary>Without it, whoever serves a guest has to ask as the superuser.</summary>
    [Fact]
    public void What_takes_a_path_of_the_volume_asks_who_asks() =>
        Assert.All(
            Methods.Where(method => !method.IsStatic && method.GetParameters().Any(IsName)),
            method => Assert.True(method.GetParameters().Any(parameter => parameter.ParameterType == typeof(CffsIdentity)), Signature(method)));

    // Names of attributes are names too; what a file is told of by a text that is no name has another parameter's name.
    private static bool IsName(ParameterInfo parameter) =>
        parameter.Name is "path" or "name" or "source" or "destination" or "existing" or "from" or "to" or "first" or "second" or "directory" or "target"
        && (parameter.ParameterType == typeof(string) || (parameter.ParameterType == typeof(ReadOnlyMemory<byte>) && parameter.Member is MethodInfo { Name: not ("Write" or "WriteAsync" or "Append" or "AppendAsync") }));

    private static bool IsAsync(MethodInfo method) => method.Name.EndsWith("Async", StringComparison.Ordinal);

    private static IEnumerable<Type> Parameters(MethodInfo method) => method.GetParameters().Select(parameter => parameter.ParameterType).Where(type => type != typeof(CancellationToken));

    private static string ForAsync(Type type) => type == typeof(Span<byte>) ? "Memory<Byte>" : type == typeof(ReadOnlySpan<byte>) ? "ReadOnlyMemory<Byte>" : Name(type);

    private static string Signature(MethodInfo method) => $"{method.DeclaringType!.Name}.{method.Name}({string.Join(", ", method.GetParameters().Select(parameter => Name(parameter.ParameterType)))})";

    private static string Name(Type type) => type.IsGenericType ? $"{type.Name[..type.Name.IndexOf('`', StringComparison.Ordinal)]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>" : type.Name;
}
