"""One DICOM file: its pixels as stored values, how they become grey values, and what its header says."""
