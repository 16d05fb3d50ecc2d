// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>XN refused a call that throws instead of returning a status, or found that an image is no XN volume.</summary>
public sealed class XnException : IOException
{
    /// <summary>A refusal with its status.</summary>
    public XnException(XnStatus status, string message)
        : base(message)
    {
        Status = status;
    }

    /// <summary>The refusal.</summary>
    public XnStatus Status { get; }
}

/// <summary>The image or disk holds no XN volume, or one that is damaged beyond what two copies can mend.</summary>
public sealed class XnFormatException : IOException
{
    /// <summary>Says what is wrong.</summary>
    /// <param name="message">One line.</param>
    /// <param name="isBlank">True when the first blocks are all zero: nothing is there at all.</param>
    public XnFormatException(string message, bool isBlank = false)
        : base(message)
    {
        IsBlank = isBlank;
    }

    /// <summary>True when the first blocks are all zero: nothing is there at all.</summary>
    public bool IsBlank { get; }
}
