"""What packing any data set needs: builder, vocabulary, staging, report, Beam pipeline."""
